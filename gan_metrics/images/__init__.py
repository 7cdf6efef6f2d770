"""From where images lie to decoded ``uint8`` RGB."""
