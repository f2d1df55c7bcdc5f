"""What every method shares: backbone, text encoder, features, the trainer on features. Knows no method."""
