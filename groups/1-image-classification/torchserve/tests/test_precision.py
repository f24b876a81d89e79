"""Half precision, which is for GPUs: on a CPU PyTorch takes seconds for a picture."""

import subprocess
from typing import Any


def test_fp16_is_computed_in_half_precision(server: Any):
    """The handler's own model in fp16, one picture: near fp32's logits, and rounded. Breaks if
    weights or arithmetic stayed fp32, or were optimised in a way that fp16 doesn't bear."""
    code = (
        "import sys; sys.path.append('.')\n"
        "import torch, handler\n"
        "from torchvision.models import resnet50\n"
        "cpu, pixels = torch.device('cpu'), torch.rand(1, 3, 224, 224)\n"
        "torch.manual_seed(1)\n"
        "plain = resnet50(weights=None).eval()\n"
        "with torch.inference_mode():\n"
        "    right = plain(pixels)\n"
        "    half = handler.optimised(plain, cpu, handler.TYPES['fp16'])\n"
        "    given = half(pixels.half())\n"
        "off = ((given.float() - right).abs().max() / right.abs().max()).item()\n"
        "print(given.dtype, *{p.dtype for p in half.parameters()}, off)"
    )
    said = subprocess.run(
        [server.running.process.args[0], "-P", "-c", code],
        cwd=server.stack.folder,
        env=server.running.env,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert said.returncode == 0, said.stderr
    answers, weights, off = said.stdout.split()
    assert answers == weights == "torch.float16"
    assert 1e-6 < float(off) < 0.05
