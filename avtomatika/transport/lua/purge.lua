-- Deletes waiting messages, a limited number per call; keeps unacknowledged ones.
--
-- KEYS: sorted set of delays, hash of delayed messages, the keys of turns, streams.
-- ARGV: maximum per stream, number of the keys of turns, of which the first lists waiting messages that were read.
-- Returns the number deleted.

expect('zset', KEYS[1])
expect('hash', KEYS[2])
local first = 3 + ARGV[2]
expect_keys('zset', 3, first - 1)
expect_keys('stream', first, #KEYS)
local removed = redis.call('ZCARD', KEYS[1])
redis.call('DEL', KEYS[1], KEYS[2])
local waiting = redis.call('ZRANGE', KEYS[3], 0, ARGV[1] - 1)
for _, member in ipairs(waiting) do
  local level, id = string.match(member, '^[^%z]*%z[^%z]*%z[^%z]*%z(%d)%z([^%z]*)')
  removed = removed + redis.call('XDEL', string.sub(KEYS[3], 1, -8) .. level, id)
  redis.call('ZREM', KEYS[3], member)
end
if #waiting < tonumber(ARGV[1]) then redis.call('DEL', unpack(KEYS, 3, first - 1)) end
for index = first, #KEYS do
  local groups, last = redis.pcall('XINFO', 'GROUPS', KEYS[index]), '-'
  for _, group in ipairs(groups.err and {} or groups) do
    if group[2] == 'avt' then last = '(' .. group[8] end
  end
  local ids = {}
  for _, entry in ipairs(redis.call('XRANGE', KEYS[index], last, '+', 'COUNT', ARGV[1])) do ids[#ids + 1] = entry[1] end
  if #ids > 0 then removed = removed + redis.call('XDEL', KEYS[index], unpack(ids)) end
end
return removed
