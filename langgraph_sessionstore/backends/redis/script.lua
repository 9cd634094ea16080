-- One guarded batch on one partition. What an operation means is written in ops.py; apply.py is this in Python.
--
-- KEYS[1]  the partition: a sorted set, every score 0, member = key .. '\0' .. value; keys hold no NUL,
--          so members sort by key, and one key has at most one member
-- KEYS[2]  the partition to copy first, when ARGV[3] is 'copy'
-- ARGV[1]  a fresh incarnation id
-- ARGV[2]  the operation id in hex, or ''
-- ARGV[3]  '' | 'copy' | 'restore'; ARGV[4] holds the dump for 'restore', '' for none
-- ARGV[5]  and on: the operations, each a letter and its arguments (ARITY)
--
-- Reply: {'=', reply, ...} | {'!', number of the guard that failed} | {'#', what is wrong with a row}
-- Rule: everything is checked before the first write. Redis refuses a script for lack of memory only as long as it has not
-- written, so a batch that may grow begins with a write that needs memory and changes nothing.

local K = KEYS[1]
local ARITY = {
  G = 1, R = 6, C = 2, P = 2, N = 2, D = 1, X = 2, A = 2, I = 2, Z = 0, E = 2, Q = 3, L = 1, T = 2, t = 5, f = 1,
  p = 5, y = 1,
}
local GROWS = {P = true, N = true, A = true, I = true, T = true, t = true}
local SYSTEM_END, INCARNATION, LEASE, OPERATIONS = '\3', '\2i', '\2l', '\2o'
local GENERATION_MS, PURGE, FOLLOW_BYTES = 300000, 100, 65536
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local exists = nil -- whether the partition has rows; nil: not asked yet

local function int(n) return string.format('%.0f', n) end
local function hex12(n) return string.format('%012x', n) end

-- rows of the partition

local function find(key)
  return redis.call('ZRANGEBYLEX', K, '[' .. key .. '\0', '(' .. key .. '\1', 'LIMIT', 0, 1)
end

local function get(key)
  local member = find(key)[1]
  return member and string.sub(member, #key + 2)
end

local function delete(key)
  return redis.call('ZREMRANGEBYLEX', K, '[' .. key .. '\0', '(' .. key .. '\1')
end

local function put(key, member)
  delete(key)
  redis.call('ZADD', K, 0, member)
end

local function set(key, value) put(key, key .. '\0' .. value) end

local function keys_between(lo, hi, most) -- '' for most: all
  local found
  if most == '' then
    found = redis.call('ZRANGEBYLEX', K, lo, hi)
  else
    found = redis.call('ZRANGEBYLEX', K, lo, hi, 'LIMIT', 0, most)
  end
  for i, member in ipairs(found) do
    found[i] = string.sub(member, 1, string.find(member, '\0', 1, true) - 1)
  end
  return found
end

local function begin()
  if exists == nil then exists = redis.call('EXISTS', K) == 1 end
  if not exists then set(INCARNATION, ARGV[1]) end
  exists = true
end

-- guards and counters

local function lease_owner()
  local row = get(LEASE)
  if row and tonumber(string.sub(row, 1, 12), 16) > now then return string.sub(row, 13) end
  return ''
end

local function counter(key) -- nil: there is a row, and it is not a counter
  local value = get(key)
  if not value then return 0 end
  return #value <= 17 and string.match(value, '^%-?%d+$') and tonumber(value)
end

local function holds(op, at)
  if op == 'Q' then
    local value, state = get(ARGV[at + 1]), ARGV[at + 2]
    if state == 'p' then return value ~= nil end
    if state == 'a' then return value == nil end
    return value ~= nil and redis.sha1hex(value) == ARGV[at + 3]
  elseif op == 'L' then
    return lease_owner() == ARGV[at + 1]
  elseif op == 'T' then
    local owner = lease_owner()
    return owner == '' or owner == ARGV[at + 1]
  end
  return true
end

-- the registry: rows n (record), c (by creation), a (by activity), x (by expiry), r and t (runs); see registry.py

local function forget(name)
  local record = get('n' .. name)
  if not record then return end
  delete('c' .. string.sub(record, 1, 12) .. name)
  delete('a' .. string.sub(record, 13, 24) .. name)
  delete('x' .. string.sub(record, 25) .. name)
  delete('n' .. name)
  local runs = 't' .. name .. '\1'
  for _, key in ipairs(keys_between('[' .. runs, '(t' .. name .. '\2', '')) do
    delete('r' .. string.sub(key, #runs + 1) .. name)
    delete(key)
  end
end

local function is_expired(record)
  local expires = tonumber(string.sub(record, 25), 16)
  return expires > 0 and expires <= now
end

local function touch(at)
  local name = ARGV[at + 1]
  local moment = ARGV[at + 2] == '' and now or tonumber(ARGV[at + 2])
  local old = get('n' .. name)
  if old and is_expired(old) then
    forget(name)
    old = nil
  end
  local created, active, expires = moment, moment, 0
  if old then
    created = tonumber(string.sub(old, 1, 12), 16)
    active = math.max(moment, tonumber(string.sub(old, 13, 24), 16))
    expires = tonumber(string.sub(old, 25), 16)
  end
  if ARGV[at + 4] ~= '' then
    expires = now + tonumber(ARGV[at + 4])
  elseif ARGV[at + 3] ~= '' then
    expires = tonumber(ARGV[at + 3])
  end
  local record = hex12(created) .. hex12(active) .. hex12(expires)
  if record ~= old then
    if old then
      delete('a' .. string.sub(old, 13, 24) .. name)
      delete('x' .. string.sub(old, 25) .. name)
    end
    set('n' .. name, record)
    set('c' .. hex12(created) .. name, '')
    set('a' .. hex12(active) .. name, '')
    if expires > 0 then set('x' .. hex12(expires) .. name, '') end
  end
  for i = at + 6, at + 5 + ARGV[at + 5] do
    set('r' .. ARGV[i] .. name, '')
    set('t' .. name .. '\1' .. ARGV[i], '')
  end
end

local function purge()
  for _, key in ipairs(keys_between('[x', '(x' .. hex12(now + 1), PURGE)) do forget(string.sub(key, 14)) end
end

local function page(at)
  purge()
  local lo, hi, before, limit = ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4]
  local command = 'ZRANGEBYLEX'
  if ARGV[at + 5] == '1' then lo, hi, command = hi, lo, 'ZREVRANGEBYLEX' end
  local found = redis.call(command, K, lo, hi, 'LIMIT', 0, limit)
  local reply = {''}
  for _, member in ipairs(found) do
    local key = string.sub(member, 1, string.find(member, '\0', 1, true) - 1)
    if #found == tonumber(limit) then reply[1] = key end
    local name = string.sub(key, before + 1)
    local record = get('n' .. name)
    if record and not is_expired(record) then
      reply[#reply + 1] = name
      reply[#reply + 1] = record
    end
  end
  return reply
end

local function tally(prefix)
  purge()
  local gone, expired = 0, '(x' .. hex12(now + 1)
  if prefix == '' then
    gone = redis.call('ZLEXCOUNT', K, '[x', expired)
  else
    for _, key in ipairs(keys_between('[x', expired, '')) do
      if string.sub(key, 14, 13 + #prefix) == prefix then gone = gone + 1 end
    end
  end
  return redis.call('ZLEXCOUNT', K, '[n' .. prefix, '(n' .. prefix .. '\255') - gone
end

-- reading

local function links(member) -- the spans in front of a value, as {lo, hi, ...}; damaged ones are left to the reader
  local at, spans = string.find(member, '\0', 1, true) + 1, {}
  if string.byte(member, at) ~= 0xC1 then return spans end
  pcall(function()
    local count
    count, at = struct.unpack('>H', member, at + 1)
    for i = 1, 2 * count do
      spans[i], at = struct.unpack('>Hc0', member, at)
    end
  end)
  return spans
end

local function follow(rows)
  local linked, seen, size = {}, {}, 0
  for _, member in ipairs(rows) do
    local spans = links(member)
    for i = 1, #spans - 1, 2 do
      local lo, hi = '[' .. spans[i], '(' .. spans[i + 1]
      if (string.byte(lo, 2) or 0) < string.byte(SYSTEM_END) then lo = '[' .. SYSTEM_END end
      local offset = 0
      while not seen[lo .. hi] do
        local part = redis.call('ZRANGEBYLEX', K, lo, hi, 'LIMIT', offset, 64)
        for _, found in ipairs(part) do
          linked[#linked + 1] = found
          size = size + #found
        end
        if size > FOLLOW_BYTES then return {rows, {}, 0} end
        offset = offset + 64
        if #part < 64 then seen[lo .. hi] = true end
      end
    end
  end
  return {rows, linked, 1}
end

local function range(at)
  local lo, hi, offset, limit = ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4]
  local rows
  if ARGV[at + 5] == '1' then
    rows = redis.call('ZREVRANGEBYLEX', K, hi, lo, 'LIMIT', offset, limit)
  else
    rows = redis.call('ZRANGEBYLEX', K, lo, hi, 'LIMIT', offset, limit)
  end
  return ARGV[at + 6] == '1' and follow(rows) or rows
end

local READS = {
  G = function(at) return find(ARGV[at + 1]) end,
  R = range,
  C = function(at) return redis.call('ZLEXCOUNT', K, ARGV[at + 1], ARGV[at + 2]) end,
  Q = function() return 0 end,
  L = function() return 0 end,
  p = page,
  y = function(at) return tally(ARGV[at + 1]) end,
}

-- writing

local WRITES = {
  P = function(at)
    begin()
    put(ARGV[at + 1], ARGV[at + 2])
    return 0
  end,
  N = function(at)
    begin()
    if get(ARGV[at + 1]) then return 0 end
    redis.call('ZADD', K, 0, ARGV[at + 2])
    return 1
  end,
  D = function(at) return delete(ARGV[at + 1]) end,
  X = function(at) return redis.call('ZREMRANGEBYLEX', K, ARGV[at + 1], ARGV[at + 2]) end,
  A = function(at)
    begin()
    local prefix = ARGV[at + 1]
    local number = counter(prefix)
    local digits = string.format('%x', number)
    local key = prefix .. '#' .. string.char(96 + #digits) .. digits .. '\1'
    set(key, ARGV[at + 2])
    set(prefix, int(number + 1))
    return key
  end,
  I = function(at)
    begin()
    local sum = counter(ARGV[at + 1]) + ARGV[at + 2]
    set(ARGV[at + 1], int(sum))
    return sum
  end,
  Z = function()
    redis.call('UNLINK', K)
    exists = false
    return 0
  end,
  E = function(at)
    local moment = tonumber(ARGV[at + 1])
    if ARGV[at + 2] ~= '' then moment = now + ARGV[at + 2] end
    exists = redis.call('EXISTS', K) == 1
    if not exists then return -1 end
    if not moment then
      redis.call('PERSIST', K)
      return -1
    end
    exists = moment > now
    redis.call('PEXPIREAT', K, int(moment))
    return moment
  end,
  T = function(at)
    if tonumber(ARGV[at + 2]) <= 0 then
      delete(LEASE)
      return now
    end
    begin()
    set(LEASE, hex12(now + ARGV[at + 2]) .. ARGV[at + 1])
    return now + ARGV[at + 2]
  end,
  t = function(at)
    begin()
    touch(at)
    return 0
  end,
  f = function(at)
    forget(ARGV[at + 1])
    return 0
  end,
}

-- was this operation id applied before?

local function operation(generation) return OPERATIONS .. string.format('%08x', generation) .. ARGV[2] end

local generation, replay = math.floor(now / GENERATION_MS), nil
if ARGV[2] ~= '' then
  for back = 0, 2 do
    replay = replay or get(operation(generation - back))
  end
  replay = replay and cmsgpack.unpack(replay)
end

-- check everything

local ops, writes, grows, at = {}, 0, false, 5
while at <= #ARGV do
  ops[#ops + 1] = at
  local op = ARGV[at]
  if WRITES[op] then writes = writes + 1 end
  grows = grows or GROWS[op]
  at = at + 1 + ARITY[op] + (op == 't' and ARGV[at + 5] or 0)
end
if replay and #replay ~= writes then return {'#', 'this operation id was used for another batch'} end
if not replay then
  for number, place in ipairs(ops) do
    if not holds(ARGV[place], place) then return {'!', number} end
  end
  local sums = {}
  for _, place in ipairs(ops) do
    local op, key = ARGV[place], ARGV[place + 1]
    if op == 'A' or op == 'I' then
      local count = sums[key] or counter(key)
      if not count then return {'#', 'the row at ' .. string.format('%q', key) .. ' is not a counter'} end
      if op == 'A' and count < 0 then
        return {'#', 'the row at ' .. string.format('%q', key) .. ' is not a counter of records'}
      end
      sums[key] = count + (op == 'I' and ARGV[place + 2] or 1)
      if math.abs(sums[key]) > 9007199254740991 then
        return {'#', 'the counter at ' .. string.format('%q', key) .. ' would leave the range of 53 bits'}
      end
    end
  end
  if grows then redis.call('ZADD', K, 'XX', 0, '') end
  if ARGV[3] == 'copy' then
    if redis.call('ZLEXCOUNT', KEYS[2], '[' .. SYSTEM_END, '+') == 0 then return {'!', 0} end
    redis.call('COPY', KEYS[2], K, 'REPLACE')
    redis.call('PERSIST', K)
  elseif ARGV[3] == 'restore' then
    if ARGV[4] == '' then return {'!', 0} end
    redis.call('RESTORE', K, 0, ARGV[4], 'REPLACE')
  end
  if ARGV[3] ~= '' then
    redis.call('ZREMRANGEBYLEX', K, '-', '(' .. SYSTEM_END)
    exists = false
    begin()
  end
end

-- apply

local reply, written = {'='}, {}
for number, place in ipairs(ops) do
  local op, answer = ARGV[place], nil
  if READS[op] then
    answer = READS[op](place)
  else
    answer = replay and replay[#written + 1] or WRITES[op](place)
    written[#written + 1] = answer
  end
  reply[number + 1] = answer
end
if ARGV[2] ~= '' and not replay and redis.call('EXISTS', K) == 1 then
  redis.call('ZREMRANGEBYLEX', K, '[' .. OPERATIONS, '(' .. OPERATIONS .. string.format('%08x', generation - 2))
  set(operation(generation), cmsgpack.pack(written))
end
return reply
