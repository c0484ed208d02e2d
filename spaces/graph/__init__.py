"""The graph pass: any `nn.Module` to the description of a Space, in four steps: trace, translate, fuse, tie."""
