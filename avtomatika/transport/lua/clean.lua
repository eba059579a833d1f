-- Removes consumers that hold nothing: this one, and others that have not been heard of for long.
--
-- KEYS: streams.    ARGV: consumer that leaves or '', how long the others have been silent at least (ms).

for _, stream in ipairs(KEYS) do
  local consumers = redis.pcall('XINFO', 'CONSUMERS', stream, 'avt')
  for _, consumer in ipairs(consumers.err and {} or consumers) do
    local name, pending, silent = consumer[2], consumer[4], consumer[6]
    if pending == 0 and (name == ARGV[1] or silent > tonumber(ARGV[2])) then
      redis.call('XGROUP', 'DELCONSUMER', stream, 'avt', name)
    end
  end
end
return 'OK'
