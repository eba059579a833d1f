-- Adds to a number of a data store: integers exactly, other numbers as doubles.
--
-- KEYS: data store.    ARGV: key, addend, initial value if the key is missing.    Returns the sum, or nil if it is not a number.

local held = redis.call('HGET', KEYS[1], ARGV[1]) or ARGV[3]
local whole = '^-?%d+$'
if string.match(held, whole) and string.match(ARGV[2], whole) then
  redis.call('HSETNX', KEYS[1], ARGV[1], held)
  local sum = redis.pcall('HINCRBY', KEYS[1], ARGV[1], ARGV[2])
  if type(sum) == 'table' then return false end
  return redis.call('HGET', KEYS[1], ARGV[1])
end

local value = string.match(held, '^[-%d]') and tonumber(held)
if not value then return false end
local sum = value + tonumber(ARGV[2])
if sum ~= sum or sum == math.huge or sum == -math.huge then return false end
local text = string.format('%.17g', sum)
if string.match(text, whole) then text = text .. '.0' end
redis.call('HSET', KEYS[1], ARGV[1], text)
return text
