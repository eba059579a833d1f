-- Checks that the previous webhook of the same job is settled, and parks this one until then if not.
--
-- KEYS: job, webhooks, stream of the cause.    ARGV: consumer, entry of the cause, number, message.
-- Returns TURN, PARKED (acknowledged), or LEASE_LOST.

local pending = redis.pcall('XPENDING', KEYS[3], 'avt', ARGV[2], ARGV[2], 1)
if pending.err or not pending[1] or pending[1][2] ~= ARGV[1] then return 'LEASE_LOST' end
if redis.call('EXISTS', KEYS[1]) == 0 then return 'TURN' end
if tonumber(redis.call('HGET', KEYS[2], 'done') or 0) >= ARGV[3] - 1 then return 'TURN' end
redis.call('HSET', KEYS[2], ARGV[3], ARGV[4])
redis.call('XACK', KEYS[3], 'avt', ARGV[2])
redis.call('XDEL', KEYS[3], ARGV[2])
return 'PARKED'
