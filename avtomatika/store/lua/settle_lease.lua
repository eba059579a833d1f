-- Publishes the result of a task that a worker over HTTP holds, and acknowledges the task, atomically.
--
-- KEYS: held task, answers of the task, tasks of the worker, stream of the task, queues, bindings, stream of the result.
-- ARGV: consumer of the worker, entry, worker, task, digest of the answer, ttl ms, version of the bindings, queue, level, result.
-- Returns OK, AGAIN (the same result was accepted before), LOST (the worker does not hold the task), REROUTE.

if redis.call('SISMEMBER', KEYS[2], ARGV[5]) == 1 then return 'AGAIN' end
if redis.call('HGET', KEYS[1], 'worker') ~= ARGV[3] then return 'LOST' end
local pending = redis.pcall('XPENDING', KEYS[4], 'avt', ARGV[2], ARGV[2], 1, ARGV[1])
if pending.err or not pending[1] then return 'LOST' end
if (redis.call('HGET', KEYS[6], ':version') or '') ~= ARGV[7] then return 'REROUTE' end
local traits = redis.call('HGET', KEYS[5], ARGV[8])
if not traits or not string.find(traits, ARGV[9], 1, true) then return 'REROUTE' end

expect('set', KEYS[3])
expect('stream', KEYS[7])
redis.call('XADD', KEYS[7], '*', 'p', ARGV[10])
finish(KEYS[4], {ARGV[2]})
redis.call('DEL', KEYS[1])
redis.call('SREM', KEYS[3], ARGV[4])
redis.call('SADD', KEYS[2], ARGV[5])
redis.call('PEXPIRE', KEYS[2], ARGV[6])
return 'OK'
