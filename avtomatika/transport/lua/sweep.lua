-- Takes over one entry that nobody renewed for a lease, and with it any number that are to be buried.
--
-- KEYS: beat, revoked, then streams.
-- ARGV: consumer, lease (ms), most deliveries, then the cursor of each stream.
-- Answers {1 where there is more to sweep at once, new cursors..., (place of the stream from 1, id, payload or '', earlier
--          deliveries)...}; at most one of the entries may still be delivered, and it is the last.

local consumer, lease, most = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local streams = #KEYS - 2
expect('hash', KEYS[1])
expect('zset', KEYS[2])
local now, resume = beat(KEYS[1], lease)
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', string.format('%.0f', now))

local answer = {0}
for place = 1, streams do answer[1 + place] = ARGV[3 + place] end
if now < resume then return answer end

-- One entry at most: answers whether it may be delivered.
local function claim(place, stream, claimed)
  local id = claimed[1]
  local payload, group, earlier, expires = read_fields(claimed[2])
  if is_over(expires) or is_revoked(KEYS[2], stream, id, group) then
    finish(stream, {id})
    return false
  end
  earlier = earlier + redis.call('XPENDING', stream, 'avt', id, id, 1)[1][4] - 1
  local size = #answer
  answer[size + 1], answer[size + 2], answer[size + 3], answer[size + 4] = place, id, payload or '', earlier
  return earlier < most
end

local steps = 200  -- of ten pending entries each: what one call may look at
for place = 1, streams do
  repeat
    local found = redis.pcall('XAUTOCLAIM', KEYS[2 + place], 'avt', consumer, lease, answer[1 + place], 'COUNT', 1)
    if found.err then
      answer[1 + place] = '0-0'
      break
    end
    answer[1 + place] = found[1]
    steps = steps - 1
    if found[2][1] and claim(place, KEYS[2 + place], found[2][1]) or steps == 0 then
      answer[1] = 1
      return answer
    end
  until found[1] == '0-0'
end
return answer
