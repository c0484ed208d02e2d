"""Networks to start from. A user's own `nn.Module` will do as well."""

from torch import nn

from spaces.networks.autoencoder import Autoencoder
from spaces.networks.crnn import CRNN
from spaces.networks.ds_cnn import DSCNN
from spaces.networks.inverted_residuals import InvertedResiduals
from spaces.networks.lenet5 import LeNet5
from spaces.networks.mobilenet_v1 import MobileNetV1
from spaces.networks.mobilenet_v2 import MobileNetV2
from spaces.networks.resnet8 import ResNet8
from spaces.networks.tc_resnet import TCResNet
from spaces.networks.temponet import TEMPONet
from spaces.networks.tiny_transformer import TinyTransformer
from spaces.networks.unet_1d import UNet1d
from spaces.networks.wake_word import WakeWord

NETWORKS: dict[str, type[nn.Module]] = {
    "autoencoder": Autoencoder,
    "crnn": CRNN,
    "ds_cnn": DSCNN,
    "inverted_residuals": InvertedResiduals,
    "lenet5": LeNet5,
    "mobilenet_v1": MobileNetV1,
    "mobilenet_v2": MobileNetV2,
    "resnet8": ResNet8,
    "tc_resnet": TCResNet,
    "temponet": TEMPONet,
    "tiny_transformer": TinyTransformer,
    "unet_1d": UNet1d,
    "wake_word": WakeWord,
}
