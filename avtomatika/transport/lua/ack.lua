-- Acknowledges entries leased to this consumer; ignores others.
--
-- KEYS: streams.    ARGV: consumer, then per stream the number of its entries and the entries.

acknowledge(2, 1, ARGV[1])
return 'OK'
