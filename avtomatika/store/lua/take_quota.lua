-- Counts jobs that a client is about to create, unless there would be too many in this month.
--
-- KEYS: quota of the client.    ARGV: number of jobs, maximum a month, when the month's count expires (s).
-- Returns {1 if they were counted, else 0; number of jobs before them}.

local created = tonumber(redis.call('GET', KEYS[1]) or 0)
if created + ARGV[1] > tonumber(ARGV[2]) then return {0, created} end
redis.call('INCRBY', KEYS[1], ARGV[1])
redis.call('EXPIREAT', KEYS[1], ARGV[3])
return {1, created}
