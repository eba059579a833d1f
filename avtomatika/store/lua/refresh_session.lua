-- Replaces a refresh token and the access token issued with it by a new pair.
--
-- KEYS: refresh token, its family, its access token, new refresh token, new access token.
-- ARGV: digest of the new access token, seconds of grace, seconds of an access token, seconds of a refresh token.

local record = redis.call('HMGET', KEYS[1], 'worker', 'basis', 'family', 'used')
if not record[1] or redis.call('EXISTS', KEYS[2]) == 0 then return 'UNKNOWN' end
expect('hash', KEYS[3])
expect('hash', KEYS[4])
expect('hash', KEYS[5])
local now = tonumber(redis.call('TIME')[1])
if record[4] and now - tonumber(record[4]) > tonumber(ARGV[2]) then
  redis.call('DEL', KEYS[2])
  return 'REUSED'
end
if not record[4] then redis.call('HSET', KEYS[1], 'used', now) end
if redis.call('TTL', KEYS[3]) > tonumber(ARGV[2]) then redis.call('EXPIRE', KEYS[3], ARGV[2]) end
local fields = { 'worker', record[1], 'basis', record[2], 'family', record[3], 'access', ARGV[1] }
redis.call('HSET', KEYS[4], unpack(fields))
redis.call('EXPIRE', KEYS[4], ARGV[4])
redis.call('HSET', KEYS[5], unpack(fields))
redis.call('EXPIRE', KEYS[5], ARGV[3])
redis.call('EXPIRE', KEYS[2], ARGV[4])
return 'OK'
