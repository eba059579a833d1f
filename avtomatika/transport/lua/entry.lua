-- Shared: reads an entry's fields without decoding its payload.

-- Parses a field as an integer of reasonable size; nil otherwise: other programs may write entries.
local function whole(text)
  local number = text and string.match(text, '^%d+$') and tonumber(text)
  return number and number < 2 ^ 53 and number or nil
end

-- Returns payload (nil in a foreign entry), group or nil, earlier deliveries, expiry time (ms) or nil, first entry id or nil.
local function read_fields(fields)
  if #fields == 2 and fields[1] == 'p' then return fields[2], nil, 0 end
  local found = {}
  for index = 1, #fields, 2 do found[fields[index]] = fields[index + 1] end
  return found.p, found.g, whole(found.n) or 0, whole(found.x), found.o
end

local function is_over(expires)
  if not expires then return false end
  local clock = redis.call('TIME')
  return clock[1] * 1000 + math.floor(clock[2] / 1000) >= expires
end

-- Returns whether the entry or one of its *groups* is revoked.
local function is_revoked(revoked, stream, id, groups)
  for group in string.gmatch(groups or '', '%S+') do
    if redis.call('ZSCORE', revoked, group) then return true end
  end
  return redis.call('ZSCORE', revoked, stream .. '/' .. id)
end
