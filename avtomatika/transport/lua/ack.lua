-- Acknowledges entries that this consumer holds; others are left alone.
--
-- KEYS: streams.    ARGV: consumer, then a list of entries a stream, each led by its length.

acknowledge(2, 1, ARGV[1])
return 'OK'
