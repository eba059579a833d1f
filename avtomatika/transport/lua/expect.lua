-- Prepended to every script: a key of an unexpected type stops the script before it writes.

local known_types = {}

-- Raises WRONGTYPE unless *key* holds *kind*, or nothing.
local function expect(kind, key)
  local found = known_types[key]
  if not found then
    found = redis.call('TYPE', key).ok
    known_types[key] = found
  end
  if found ~= kind and found ~= 'none' then
    error({err = 'WRONGTYPE ' .. key .. ' holds a ' .. found .. ' where a ' .. kind .. ' is kept'})
  end
end

-- The same for KEYS[first] to KEYS[last].
local function expect_keys(kind, first, last)
  for index = first, last do expect(kind, KEYS[index]) end
end
