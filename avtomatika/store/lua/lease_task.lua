-- Leases a task that the gateway consumed to a worker over HTTP, and notifies the orchestrators.
--
-- KEYS: stream of the task, held task, tasks of the worker, queues, bindings of the notice, then the stream of the notice.
-- ARGV: consumer that holds it, entry, consumer of the worker, worker, task, tag, message, ttl ms, version of the bindings, queue and
--       level of the notice, notice.
-- Returns OK, LOST (another consumer holds it), REROUTE.

local pending = redis.pcall('XPENDING', KEYS[1], 'avt', ARGV[2], ARGV[2], 1, ARGV[1])
if pending.err or not pending[1] then return 'LOST' end
if (redis.call('HGET', KEYS[5], ':version') or '') ~= ARGV[9] then return 'REROUTE' end
local traits = redis.call('HGET', KEYS[4], ARGV[10])
if not traits or not string.find(traits, ARGV[11], 1, true) then return 'REROUTE' end

expect('set', KEYS[3])
expect('stream', KEYS[6])
local clock = redis.call('TIME')
redis.call('XCLAIM', KEYS[1], 'avt', ARGV[3], 0, ARGV[2], 'JUSTID')
redis.call('DEL', KEYS[2])
redis.call('HSET', KEYS[2], 'worker', ARGV[4], 'tag', ARGV[6], 'message', ARGV[7],
  'at', string.format('%.0f', clock[1] * 1000 + math.floor(clock[2] / 1000)))
redis.call('PEXPIRE', KEYS[2], ARGV[8])
redis.call('SADD', KEYS[3], ARGV[5])
redis.call('PEXPIRE', KEYS[3], ARGV[8])
redis.call('XADD', KEYS[6], '*', 'p', ARGV[12])
return 'OK'
