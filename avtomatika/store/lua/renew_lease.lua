-- Renews the lease of a task that a worker over HTTP reports as running.
--
-- KEYS: stream of the task, held task, tasks of the worker.    ARGV: consumer of the worker, entry, ttl ms, task.
-- Returns 1, or 0 if the worker no longer holds it.

expect('hash', KEYS[2])
expect('set', KEYS[3])
local pending = redis.pcall('XPENDING', KEYS[1], 'avt', ARGV[2], ARGV[2], 1, ARGV[1])
if pending.err or not pending[1] then
  redis.call('SREM', KEYS[3], ARGV[4])
  return 0
end
redis.call('XCLAIM', KEYS[1], 'avt', ARGV[1], 0, ARGV[2], 'JUSTID')
redis.call('HSET', KEYS[2], 'named', 1)
redis.call('PEXPIRE', KEYS[2], ARGV[3])
redis.call('PEXPIRE', KEYS[3], ARGV[3])
return 1
