"""Networks to start from. A user's own `nn.Module` will do as well."""

from spaces.networks.ds_cnn import DSCNN
from spaces.networks.mobilenet_v1 import MobileNetV1
from spaces.networks.resnet8 import ResNet8

NETWORKS = {"ds_cnn": DSCNN, "mobilenet_v1": MobileNetV1, "resnet8": ResNet8}
