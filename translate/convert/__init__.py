"""Converting pictures and folders of pictures with a trained model."""
