"""A stub of the Hugging Face Hub on 127.0.0.1, for its own clients (huggingface_hub, datasets), with scripted faults."""
