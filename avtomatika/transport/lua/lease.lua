-- Shared: only the consumer that holds an entry's lease may acknowledge, move or renew it.

local function is_leased(stream, entry, consumer)
  local pending = redis.pcall('XPENDING', stream, 'avt', entry, entry, 1, consumer)
  return pending.err == nil and pending[1] ~= nil
end

local function finish(stream, entries)
  if #entries == 0 then return end
  release(stream, entries)
  redis.call('XACK', stream, 'avt', unpack(entries))
  redis.call('XDEL', stream, unpack(entries))
end

-- Acknowledges lists of entries, each preceded by its length, from ARGV[at]; one list per stream from KEYS[key].
local function acknowledge(at, key, consumer)
  while at <= #ARGV do
    local entries = {}
    local last = at + tonumber(ARGV[at])
    for index = at + 1, last do
      if is_leased(KEYS[key], ARGV[index], consumer) then entries[#entries + 1] = ARGV[index] end
    end
    finish(KEYS[key], entries)
    at, key = last + 1, key + 1
  end
end
