-- Pauses a queue or resumes it, and notifies its consumers; a paused queue keeps who paused it first.
--
-- KEYS: queues, bell, limits.    ARGV: queue, who pauses it, or '' to resume it.
-- Returns 1, 0 if the queue does not exist, -1 if it reads a fanout exchange.

local traits = redis.call('HGET', KEYS[1], ARGV[1])
if not traits then return 0 end
if string.find(traits, 'f', 1, true) then return -1 end
expect('stream', KEYS[2])
expect('hash', KEYS[3])
local field, known = ARGV[1] .. '\tpaused', traits
traits = string.gsub(traits, 'p', '')
if ARGV[2] == '' then
  redis.call('HDEL', KEYS[3], field)
else
  local clock = redis.call('TIME')
  traits = traits .. 'p'
  redis.call('HSETNX', KEYS[3], field, string.format('%.0f %s', clock[1] * 1000 + math.floor(clock[2] / 1000), ARGV[2]))
end
if traits ~= known then
  redis.call('HSET', KEYS[1], ARGV[1], traits)
  redis.call('XADD', KEYS[2], 'MAXLEN', 1, '*', 'trait', ARGV[1])
end
return 1
