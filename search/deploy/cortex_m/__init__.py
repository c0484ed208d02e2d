"""The generated C on an emulated Cortex-M core: `pip install 'picojoule[mcu]'`, and a compiler for the core."""
