"""From streams to delivered messages: :mod:`.reader` takes entries, :mod:`.prefetch` buffers them as messages,
:mod:`.qos` tracks unacknowledged ones, :mod:`.dead_letters` requeues or dead-letters them."""
