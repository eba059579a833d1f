-- Part of other scripts: how long a message lives in its queue.

-- The shorter of what its sender says ('' for nothing) and what its queue's declaration does; ms, or nil.
local function time_to_live(limits, queue, traits, own)
  local ttl = tonumber(own)
  if string.find(traits, 't', 1, true) then
    local limit = tonumber(redis.call('HGET', limits, queue .. '\tttl'))
    if limit and (not ttl or limit < ttl) then return limit end
  end
  return ttl
end

local function clock_ms()
  local clock = redis.call('TIME')
  return clock[1] * 1000 + math.floor(clock[2] / 1000)
end
