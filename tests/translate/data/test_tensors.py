import numpy as np
import pytest
import torch

from translate.data.tensors import to_image, to_tensor


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_every_value_comes_back(dtype: type) -> None:
    count = np.iinfo(dtype).max + 1
    image = np.arange(count).astype(dtype).reshape(16, -1, 1)
    tensor = to_tensor(image)
    assert tensor.dtype == torch.float32
    assert tensor.min() == -1
    assert tensor.max() == 1
    result = to_image(tensor, dtype)
    assert result.dtype == dtype
    np.testing.assert_array_equal(result, image)


def test_numbers_and_axes() -> None:
    image = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)
    tensor = to_tensor(image)
    assert tensor.shape == (4, 2, 3)
    assert tensor.is_contiguous()
    assert tensor[3, 1, 2] == np.float32(23) / np.float32(127.5) - 1
    result = to_image(tensor)
    assert result.flags.c_contiguous
    np.testing.assert_array_equal(result, image)


def test_the_picture_is_not_shared_with_the_tensor() -> None:
    image = np.zeros((2, 2, 1), np.uint8)
    to_tensor(image).fill_(1)
    to_tensor(image[:, ::-1])  # a mirrored view is taken too
    assert (image == 0).all()


def test_rounding_and_clipping() -> None:
    steps = torch.tensor([-9.0, -1.0, -1 + 0.49 / 127.5, -1 + 0.51 / 127.5, 0.999, 1.0, 9.0])
    np.testing.assert_array_equal(to_image(steps[None, None])[0, :, 0], [0, 0, 0, 1, 255, 255, 255])


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_other_floating_types(dtype: torch.dtype) -> None:
    tensor = torch.tensor([-1.0, 0.5, 1.0], dtype=dtype, requires_grad=True)[None, None]
    np.testing.assert_array_equal(to_image(tensor)[0, :, 0], [0, 191, 255])


def test_nan_is_refused() -> None:
    with pytest.raises(ValueError, match="NaN"):
        to_image(torch.tensor([[[float("nan")]]]))
