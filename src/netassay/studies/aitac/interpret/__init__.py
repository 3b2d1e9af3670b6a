"""What a trained network learned."""
