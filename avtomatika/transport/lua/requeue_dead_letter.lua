-- Moves a dead letter back to its queue with a delivery count of 0.
--
-- KEYS: dead letters, queues, stream.    ARGV: entry, queue, priority.
-- Returns OK | GONE (no such dead letter) | NO_QUEUE.

local entry = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])[1]
if not entry then return 'GONE' end
local traits = redis.call('HGET', KEYS[2], ARGV[2])
if not traits or not string.find(traits, ARGV[3], 1, true) then return 'NO_QUEUE' end
local fields = {}
for index = 1, #entry[2], 2 do
  local name = entry[2][index]
  if name == 'p' or name == 'g' then fields[#fields + 1], fields[#fields + 2] = name, entry[2][index + 1] end
end
redis.call('XADD', KEYS[3], '*', unpack(fields))
redis.call('XDEL', KEYS[1], ARGV[1])
return 'OK'
