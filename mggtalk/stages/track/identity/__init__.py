"""Identity resolution: assigns an identity to every clip, from face embeddings and labels."""
