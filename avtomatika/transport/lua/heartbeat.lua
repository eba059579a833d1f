-- Shared: the heartbeat, from which a reclaim detects that the server or all consumers were down.
--
-- Idle times include the server's own downtime. Consumers write a heartbeat at least every third of a lease; after a gap of
--       half a lease, or in another run of the server, no lease is reclaimed for a full lease, so that live consumers can renew
--       theirs.

-- Returns the time, and the time from which leases may be reclaimed (both ms).
local function beat(key, lease)
  local clock = redis.call('TIME')
  local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
  local info = redis.pcall('INFO', 'server')  -- fails without permission, which is acceptable
  local run = type(info) == 'string' and string.match(info, 'run_id:(%w+)') or ''
  local last = redis.call('HMGET', key, 'at', 'run', 'resume')
  local resume = tonumber(last[3]) or 0
  if not last[1] or now < last[1] - 1000 then
    resume = now + lease
  elseif last[2] ~= run or now - last[1] > lease / 2 then
    resume = math.max(resume, now + lease)  -- others may have longer leases
  end
  redis.call('HSET', key, 'at', string.format('%.0f', now), 'run', run, 'resume', string.format('%.0f', resume))
  return now, resume
end
