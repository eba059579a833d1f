"""From a message to the streams of its queues: :mod:`.routing` finds them, :mod:`.publisher` writes to them."""
