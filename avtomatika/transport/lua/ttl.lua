-- Shared: time to live of messages.

-- Returns the shorter of the message's ('' for none) and its queue's time to live; ms, or nil.
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
