-- Deletes waiting messages, a limited number per call; keeps unacknowledged ones.
--
-- KEYS: sorted set of delays, hash of delayed messages, streams.    ARGV: maximum per stream.    Returns the number deleted.

expect('zset', KEYS[1])
expect('hash', KEYS[2])
expect_keys('stream', 3, #KEYS)
local removed = redis.call('ZCARD', KEYS[1])
redis.call('DEL', KEYS[1], KEYS[2])
for index = 3, #KEYS do
  local groups, last = redis.pcall('XINFO', 'GROUPS', KEYS[index]), '-'
  for _, group in ipairs(groups.err and {} or groups) do
    if group[2] == 'avt' then last = '(' .. group[8] end
  end
  local ids = {}
  for _, entry in ipairs(redis.call('XRANGE', KEYS[index], last, '+', 'COUNT', ARGV[1])) do ids[#ids + 1] = entry[1] end
  if #ids > 0 then removed = removed + redis.call('XDEL', KEYS[index], unpack(ids)) end
end
return removed
