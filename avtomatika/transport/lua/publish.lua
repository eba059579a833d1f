-- Publishes one message to one queue without delay: the fast path for most messages.
--
-- KEYS: queues, limits, the stream, and the binding hash used, if any.
-- ARGV: queue, priority, payload, group or '', time to live in ms or '', version of the bindings or ''.
-- Returns 'OK' | 'REROUTE'.

if KEYS[4] and (redis.call('HGET', KEYS[4], ':version') or '') ~= ARGV[6] then return 'REROUTE' end
local traits = redis.call('HGET', KEYS[1], ARGV[1])
if not traits or not string.find(traits, ARGV[2], 1, true) then return 'REROUTE' end

local fields = {'p', ARGV[3]}
if ARGV[4] ~= '' then fields[3], fields[4] = 'g', ARGV[4] end
local ttl = time_to_live(KEYS[2], ARGV[1], traits, ARGV[5])
if ttl then fields[#fields + 1], fields[#fields + 2] = 'x', string.format('%.0f', clock_ms() + ttl) end
redis.call('XADD', KEYS[3], '*', unpack(fields))
return 'OK'
