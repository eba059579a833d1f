-- Deletes one job with all its keys, if its retention time is over.
--
-- KEYS: retention, the job's own keys, then the indexes.    ARGV: job id, number of its own keys.
-- Returns 1 if the job was deleted.

local due = redis.call('ZSCORE', KEYS[1], ARGV[1])
local clock = redis.call('TIME')
if not due or tonumber(due) > clock[1] * 1000 + math.floor(clock[2] / 1000) then return 0 end
local own = tonumber(ARGV[2])
expect_keys('zset', own + 2, #KEYS)
-- The idempotency key is deleted with the last of its jobs. Jobs of a batch are deleted in the order of their creation.
local idempotency = redis.pcall('HGET', KEYS[2], 'idempotency')
if type(idempotency) == 'string' then
  local held, prefix = redis.call('GET', idempotency), string.sub(KEYS[2], 1, -#ARGV[1] - 1)
  local ids, is_ours, is_needed = {}, false, false
  for id in string.gmatch(held or '', '%S+') do ids[#ids + 1] = id end
  for place = #ids, 2, -1 do
    is_ours = is_ours or ids[place] == ARGV[1]
    is_needed = ids[place] ~= ARGV[1] and redis.call('EXISTS', prefix .. ids[place]) == 1
    if is_needed then break end
  end
  if is_ours and not is_needed then redis.call('DEL', idempotency) end
end
for index = 2, own + 1 do redis.call('UNLINK', KEYS[index]) end
for index = own + 2, #KEYS do redis.call('ZREM', KEYS[index], ARGV[1]) end
redis.call('ZREM', KEYS[1], ARGV[1])
return 1
