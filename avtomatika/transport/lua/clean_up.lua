-- Removes consumers without pending entries: this one, and those idle for long; and old dead letters.
--
-- KEYS: streams, then dead-letter streams.
-- ARGV: number of streams, consumer that leaves or '', minimum idle time of others (ms), retention of dead letters (ms).

local clock = redis.call('TIME')
local oldest = string.format('%.0f', math.max(clock[1] * 1000 + math.floor(clock[2] / 1000) - ARGV[4], 0))
for index, key in ipairs(KEYS) do
  if index > tonumber(ARGV[1]) then
    redis.pcall('XTRIM', key, 'MINID', oldest)
  else
    local consumers = redis.pcall('XINFO', 'CONSUMERS', key, 'avt')
    for _, consumer in ipairs(consumers.err and {} or consumers) do
      local name, pending, silent = consumer[2], consumer[4], consumer[6]
      if pending == 0 and (name == ARGV[2] or silent > tonumber(ARGV[3])) then
        redis.call('XGROUP', 'DELCONSUMER', key, 'avt', name)
      end
    end
  end
end
return 'OK'
