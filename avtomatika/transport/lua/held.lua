-- Part of other scripts: an entry is acknowledged, moved or renewed by the consumer that holds it and by nobody else.

local function is_held(stream, entry, consumer)
  local pending = redis.pcall('XPENDING', stream, 'avt', entry, entry, 1, consumer)
  return pending.err == nil and pending[1] ~= nil
end

local function finish(stream, entries)
  if #entries == 0 then return end
  redis.call('XACK', stream, 'avt', unpack(entries))
  redis.call('XDEL', stream, unpack(entries))
end

-- Acknowledges what lists of entries, each led by its length, name from ARGV[at] on; a list a stream, from KEYS[key] on.
local function acknowledge(at, key, consumer)
  while at <= #ARGV do
    local entries = {}
    local last = at + tonumber(ARGV[at])
    for index = at + 1, last do
      if is_held(KEYS[key], ARGV[index], consumer) then entries[#entries + 1] = ARGV[index] end
    end
    finish(KEYS[key], entries)
    at, key = last + 1, key + 1
  end
end
