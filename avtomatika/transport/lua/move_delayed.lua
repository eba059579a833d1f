-- Moves due delayed messages to their queues.
--
-- KEYS: per queue its sorted set of delays, its hash of delayed messages, then its streams.
-- ARGV: maximum number to move per queue, then per queue the priorities of its streams, in key order, as one string.
-- Returns ms until the next is due, -1 if there is none.

local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local soonest, key = -1, 1

local function move(delays, messages, streams, member)
  local stream = streams[string.sub(member, 1, 1)]
  local payload, group, ttl = unpack(redis.call('HMGET', messages, member, member .. ':group', member .. ':ttl'))
  if not stream and string.match(member, '^%d:') then return end  -- of a new priority, which the next call includes
  if payload and stream then
    local fields = {'p', payload}
    if group then fields[#fields + 1], fields[#fields + 2] = 'g', group end
    ttl = tonumber(ttl or nil)
    if ttl then fields[#fields + 1], fields[#fields + 2] = 'x', string.format('%.0f', now + ttl) end
    redis.call('XADD', stream, '*', unpack(fields))
  end
  redis.call('ZREM', delays, member)
  redis.call('HDEL', messages, member, member .. ':group', member .. ':ttl')
end

for index = 2, #ARGV do
  local delays, messages, streams = KEYS[key], KEYS[key + 1], {}
  for level = 1, #ARGV[index] do streams[string.sub(ARGV[index], level, level)] = KEYS[key + 1 + level] end
  key = key + 2 + #ARGV[index]
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', delays, '-inf', string.format('%.0f', now), 'LIMIT', 0, ARGV[1])) do
    move(delays, messages, streams, member)
  end
  local next_due = redis.call('ZRANGE', delays, 0, 0, 'WITHSCORES')[2]
  if next_due then
    local wait = math.max(next_due - now, 0)
    if soonest < 0 or wait < soonest then soonest = wait end
  end
end
return math.ceil(soonest)
