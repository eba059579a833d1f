-- Takes over one entry that nobody renewed for a lease, and with it any number that are to be buried.
--
-- Idle time counts the server's own downtime. So a beat is kept here: after a gap, or in another run of the server, nothing is
-- taken over for a full lease; whoever lives has renewed by then.
--
-- KEYS: beat, revoked, then streams.
-- ARGV: consumer, lease (ms), gap that means downtime (ms), most deliveries, then the cursor of each stream.
-- Answers {1 where there is more to sweep at once, new cursors..., (place of the stream from 1, id, payload or '', earlier
--          deliveries)...}; at most one of the entries may still be delivered, and it is the last.

local consumer, lease, most = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[4])
local streams = #KEYS - 2
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

local run = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
local beat = redis.call('HMGET', KEYS[1], 'at', 'run', 'resume')
local resume = tonumber(beat[3]) or 0
if not beat[1] or beat[2] ~= run or now - beat[1] > tonumber(ARGV[3]) or now < beat[1] - 1000 then resume = now + lease end
redis.call('HSET', KEYS[1], 'at', string.format('%.0f', now), 'run', run, 'resume', string.format('%.0f', resume))
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', string.format('%.0f', now))

local answer = {0}
for place = 1, streams do answer[1 + place] = ARGV[4 + place] end
if now < resume then return answer end

-- One entry at most: answers whether it may be delivered.
local function claim(place, stream, claimed)
  local id = claimed[1]
  local payload, group, earlier = read_fields(claimed[2])
  if is_revoked(KEYS[2], stream, id, group) then
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
