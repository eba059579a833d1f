-- Acknowledges an event that changes nothing, and adds a note of it to those of its job, if the job exists.
--
-- KEYS: job, notes, stream of the cause.    ARGV: consumer, entry of the cause, note ('' for none).

local pending = redis.pcall('XPENDING', KEYS[3], 'avt', ARGV[2], ARGV[2], 1)
if pending.err or not pending[1] or pending[1][2] ~= ARGV[1] then return 'LEASE_LOST' end
if ARGV[3] ~= '' and redis.call('EXISTS', KEYS[1]) == 1 then
  local clock = redis.call('TIME')
  redis.call('LPUSH', KEYS[2], string.format('%.0f %s', clock[1] * 1000 + math.floor(clock[2] / 1000), ARGV[3]))
  redis.call('LTRIM', KEYS[2], 0, 99)
end
redis.call('XACK', KEYS[3], 'avt', ARGV[2])
redis.call('XDEL', KEYS[3], ARGV[2])
return 'OK'
