-- Prepended to every script: a key of an unexpected type stops the script before it writes.

local known_types = {}

local function kind_of(key)
  if not known_types[key] then known_types[key] = redis.call('TYPE', key).ok end
  return known_types[key]
end

-- Raises WRONGTYPE unless *key* holds *kind*, or nothing.
local function expect(kind, key)
  local found = kind_of(key)
  if found ~= kind and found ~= 'none' then
    error({err = 'WRONGTYPE ' .. key .. ' holds a ' .. found .. ' where a ' .. kind .. ' is kept'})
  end
end

-- The same for KEYS[first] to KEYS[last].
local function expect_keys(kind, first, last)
  for index = first, last do expect(kind, KEYS[index]) end
end
