-- Guarded batches. What an operation means is written in ops/operations.py; apply.py is this in Python.
--
-- KEYS     for each batch the partition, a sorted set: every score 0, member = key .. '\0' .. value; keys hold no NUL,
--          so members sort by key, and one key has at most one member. When it is to be a copy: the source behind it
-- ARGV[1]  how many batches. They are done in order, up to the first that is not applied
--          for each batch:
--          how many arguments it has | a fresh incarnation id | the operation id in hex, or ''
--          '' | 'copy' | 'restore' | the dump for 'restore', '' for none
--          the operations, each a letter and its arguments (ARITY)
--          behind the last one: 1 when replicas shall hear of it whatever it does (`loud`)
--
-- Reply for a batch: {'=', reply, ...} | {'!', number of the guard that failed} | {'#', what is wrong with a row}
--          {'x', error of Redis} | {'-'} not tried. Of one batch it is the reply, of several a list of them.
-- Rule: everything in a batch is checked before its first write. Redis refuses a script for lack of memory only as long
-- as it has not written, so a batch that may grow begins with a write that needs memory and changes nothing.

local K, FRESH, OPERATION -- of the batch that is being done
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local exists -- whether the partition has its incarnation; nil: not asked yet
local ARITY = {
  G = 1, R = 7, C = 2, P = 2, N = 2, D = 1, X = 2, A = 2, I = 2, Z = 0, E = 2, Q = 3, L = 1, M = 2, T = 2, t = 7,
  f = 2, p = 5, y = 1,
}
local GROWS = {P = true, N = true, A = true, I = true, T = true, t = true}
local SYSTEM_END, INCARNATION, LEASE, OPERATIONS = '\3', '\2i', '\2l', '\2o'
local GENERATION_MS, PURGE, PURGE_RUNS, FOLLOW_BYTES, FOLLOW_SPANS = 300000, 100, 1000, 65536, 1024
local COUNTER_LIMIT, NEVER = 9007199254740991, '000000000000'

local function int(n) return string.format('%.0f', n) end
local function hex12(n) return string.format('%012x', n) end

local function sequence(prefix, n) -- the key of a record
  local digits = string.format('%x', n)
  return prefix .. '#' .. string.char(96 + #digits) .. digits .. '\1'
end

-- rows of the partition

local function find(key)
  return redis.call('ZRANGEBYLEX', K, '[' .. key .. '\0', '(' .. key .. '\1', 'LIMIT', '0', '1')
end

local function get(key)
  local member = find(key)[1]
  if member then return string.sub(member, #key + 2) end
  return nil
end

local function delete(key)
  return redis.call('ZREMRANGEBYLEX', K, '[' .. key .. '\0', '(' .. key .. '\1')
end

local function put(key, member)
  delete(key)
  redis.call('ZADD', K, '0', member)
end

local function set(key, value) put(key, key .. '\0' .. value) end

local function ending(member) -- where its key ends; one that somebody else has put there may be nothing but a key
  return string.find(member, '\0', 1, true) or #member + 1
end

local function keys_between(lo, hi, most) -- '' for most: all
  local found
  if most == '' then
    found = redis.call('ZRANGEBYLEX', K, lo, hi)
  else
    found = redis.call('ZRANGEBYLEX', K, lo, hi, 'LIMIT', '0', most)
  end
  for i, member in ipairs(found) do
    found[i] = string.sub(member, 1, ending(member) - 1)
  end
  return found
end

local function is_there()
  if exists == nil then exists = get(INCARNATION) ~= nil end
  return exists
end

local function begin() -- give a partition that does not exist yet its incarnation, and no end
  if not is_there() then
    set(INCARNATION, FRESH)
    redis.call('PERSIST', K)
  end
  exists = true
end

-- guards and counters

local function lease_owner()
  local row = get(LEASE)
  if not row then return '' end
  if #string.match(row, '^%x*') < 12 then return nil, 'the lease of the partition is damaged' end
  if tonumber(string.sub(row, 1, 12), 16) > now then return string.sub(row, 13) end
  return ''
end

local function counter(key) -- nil: there is a row, and it is not a counter
  local value = get(key)
  if not value then return 0 end
  local number = #value <= 17 and string.match(value, '^%-?%d+$') and tonumber(value)
  return number and math.abs(number) <= COUNTER_LIMIT and number
end

local function etag(value) -- a hash, or the name that the value carries, as in ops/links.py
  if string.byte(value) ~= 0xC2 or #value < 17 then return redis.sha1hex(value) end
  return (string.gsub(string.sub(value, 2, 17), '.', function(c) return string.format('%02x', string.byte(c)) end))
end

local function holds(op, at) -- whether a guard holds, and what is wrong with the row that it needs
  if op == 'Q' then
    local value, state = get(ARGV[at + 1]), ARGV[at + 2]
    if ARGV[at + 1] == INCARNATION then exists = value ~= nil end
    if state == 'p' then return value ~= nil end
    if state == 'a' then return value == nil end
    return value ~= nil and string.find(ARGV[at + 3], ',' .. etag(value) .. ',', 1, true) ~= nil -- one of several
  elseif op == 'M' then
    return redis.call('ZLEXCOUNT', K, ARGV[at + 1], ARGV[at + 2]) == 0
  elseif op == 'L' then
    local owner, wrong = lease_owner()
    return owner == ARGV[at + 1], wrong
  elseif op == 'T' then
    local owner, wrong = lease_owner()
    return owner == '' or owner == ARGV[at + 1], wrong
  end
  return true
end

-- the registry: rows n (record), c (by creation), a (by activity), x (by expiry), r and t (runs); see registry.py

local listing
local function registry() -- made when it is first needed, as most batches do without
  if listing then return listing end

  local function record_of(name) -- one that cannot be read counts as none
    local record = get('n' .. name)
    return record and #record == 36 and string.match(record, '^%x+$')
  end

  local function runs_of(name) -- by which it is found
    local runs = keys_between('[t' .. name .. '\1', '(t' .. name .. '\2', '')
    for i, key in ipairs(runs) do runs[i] = string.sub(key, #name + 3) end
    return runs
  end

  local function forget(name) -- how many runs it had
    local record = record_of(name)
    if record then
      delete('c' .. string.sub(record, 1, 12) .. name)
      delete('a' .. string.sub(record, 13, 24) .. name)
      delete('x' .. string.sub(record, 25) .. name)
    end
    delete('n' .. name)
    local runs = runs_of(name)
    for _, run in ipairs(runs) do
      delete('r' .. run .. name)
      delete('t' .. name .. '\1' .. run)
    end
    return #runs
  end

  local function is_expired(record)
    local expires = tonumber(string.sub(record, 25), 16)
    return expires > 0 and expires <= now
  end

  local function touch(at)
    local name = ARGV[at + 1]
    local moment = ARGV[at + 2] == '' and now or tonumber(ARGV[at + 2])
    local old = record_of(name)
    if old and is_expired(old) then
      forget(name)
      old = nil
    end
    if old and ARGV[at + 5] == '1' then return end
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
        if string.sub(old, 25) ~= NEVER then delete('x' .. string.sub(old, 25) .. name) end
      else
        set('c' .. hex12(created) .. name, '')
      end
      set('n' .. name, record)
      set('a' .. hex12(active) .. name, '')
      if expires > 0 then set('x' .. hex12(expires) .. name, '') end
    end
    local found = ARGV[at + 6] ~= '' and runs_of(ARGV[at + 6]) or {}
    for i = at + 8, at + 7 + ARGV[at + 7] do found[#found + 1] = ARGV[i] end
    local rows = {}
    for _, run in ipairs(found) do
      local size = #rows
      rows[size + 1], rows[size + 2] = '0', 'r' .. run .. name .. '\0'
      rows[size + 3], rows[size + 4] = '0', 't' .. name .. '\1' .. run .. '\0'
    end
    for i = 1, #rows, 1000 do redis.call('ZADD', K, unpack(rows, i, math.min(i + 999, #rows))) end
  end

  local function purge()
    local runs = 0
    for _, key in ipairs(keys_between('[x', '(x' .. hex12(now + 1), PURGE)) do
      runs = runs + forget(string.sub(key, 14))
      delete(key)
      if runs > PURGE_RUNS then break end
    end
  end

  local function page(at)
    purge()
    local lo, hi, before, limit = ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4]
    local command = 'ZRANGEBYLEX'
    if ARGV[at + 5] == '1' then lo, hi, command = hi, lo, 'ZREVRANGEBYLEX' end
    local found = redis.call(command, K, lo, hi, 'LIMIT', '0', limit)
    local reply = {''}
    for _, member in ipairs(found) do
      local key = string.sub(member, 1, ending(member) - 1)
      if #found == tonumber(limit) then reply[1] = key end
      local name = string.sub(key, before + 1)
      local record = record_of(name)
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

  listing = {page = page, tally = tally, touch = touch, forget = function(name, active)
    local record = record_of(name)
    if active == '' or not record or tonumber(string.sub(record, 13, 24), 16) == tonumber(active) then
      forget(name)
    end
  end}
  return listing
end

-- reading

-- Links stand in front of values as in ops/links.py; what following brings is in following.py. Numbers of records are
-- boundaries, {first, stop, first, stop, ...}, in order, apart: inside are those with an odd count of them at or below.

local function follow(rows, told)
  local function parse(text, at) -- the links at this place: {prefix, ...} and {prefix, first, stop, ...}
    local below, runs = {}, {}
    local prefixes, groups, at = struct.unpack('>I2I2', text, at)
    for i = 1, prefixes do
      below[i], at = struct.unpack('>I2c0', text, at)
      if string.find(below[i], '\0', 1, true) then error('damaged') end
    end
    for _ = 1, groups do
      local prefix, count, first, stop
      prefix, count, at = struct.unpack('>I2c0I2', text, at)
      if string.find(prefix, '\0', 1, true) then error('damaged') end
      for _ = 1, count do
        first, stop, at = struct.unpack('>I4I4', text, at)
        if first > stop then error('damaged') end
        local size = #runs
        runs[size + 1], runs[size + 2], runs[size + 3] = prefix, first, stop
      end
    end
    return below, runs
  end

  local function gather(text, at, below, stops) -- add the links at this place; damaged ones are left to the reader
    if string.byte(text, at) == 0xC2 then at = at + 17 end
    if string.byte(text, at) ~= 0xC1 then return end
    local whole, prefixes, runs = pcall(parse, text, at + 1)
    if not whole then return end
    for _, prefix in ipairs(prefixes) do below[prefix] = true end
    for i = 1, #runs, 3 do
      local prefix, first, stop = runs[i], runs[i + 1], runs[i + 2]
      local of = stops[prefix] or {}
      stops[prefix] = of
      of[first] = math.max(of[first] or 0, stop)
    end
  end

  local function numbers(stops) -- {[first] = stop} as boundaries
    local firsts, all = {}, {}
    for first in pairs(stops) do firsts[#firsts + 1] = first end
    table.sort(firsts)
    for _, first in ipairs(firsts) do
      local size, stop = #all, stops[first]
      if size > 0 and first <= all[size] then
        all[size] = math.max(all[size], stop)
      elseif first < stop then
        all[size + 1], all[size + 2] = first, stop
      end
    end
    return all
  end

  local function without(all, known) -- the pieces of `all` that are not known, {first, stop, ...}
    local pieces, at = {}, 1
    for i = 1, #all, 2 do
      local first, stop = all[i], all[i + 1]
      while first < stop do
        while known[at] and known[at + 1] <= first do at = at + 2 end
        local last = math.min(stop, known[at] or stop)
        if first < last then
          pieces[#pieces + 1], pieces[#pieces + 2] = first, last
          first = last
        else
          first = known[at + 1]
        end
      end
    end
    return pieces
  end

  local function inside(all, number)
    local low, high = 0, #all -- the count of boundaries lies between
    while low < high do
      local middle = math.ceil((low + high) / 2)
      if all[middle] <= number then low = middle else high = middle - 1 end
    end
    return low % 2 == 1
  end

  local function owner(member) -- whose record a row is, and its number
    local prefix, letter, digits = string.match(member, '^([^%z]*)#([a-p])([%da-f]+)\1%z')
    if digits and string.byte(letter) == 96 + #digits and (digits == '0' or string.byte(digits) ~= 48) then
      return prefix, tonumber(digits, 16)
    end
  end

  local below, runs, known, spans = {}, {}, {}, {}
  gather(told, 1, below, known)
  for prefix, stops in pairs(known) do known[prefix] = numbers(stops) end
  for _, member in ipairs(rows) do gather(member, ending(member) + 1, below, runs) end
  for prefix in pairs(below) do spans[#spans + 1] = {prefix, prefix .. '\2', prefix .. '\255'} end
  for prefix, stops in pairs(runs) do
    local pieces = without(numbers(stops), known[prefix] or {})
    for i = 1, #pieces, 2 do
      local first, stop = pieces[i], pieces[i + 1]
      spans[#spans + 1] = {prefix, sequence(prefix, first), sequence(prefix, stop), stop - first}
      if #spans > FOLLOW_SPANS then break end
    end
  end
  if #spans > FOLLOW_SPANS then return {rows, {}, 0} end
  local linked, seen, size = {}, {}, 0
  for _, span in ipairs(spans) do
    local prefix, lo, hi, most = unpack(span) -- `most` records, or all that lies below
    if string.byte(lo) < string.byte(SYSTEM_END) then lo = SYSTEM_END end
    local offset, step, last = 0, 4, false
    while not last do -- few rows at first: they may be large
      local part = redis.call('ZRANGEBYLEX', K, '[' .. lo, '(' .. hi, 'LIMIT', offset, step)
      for _, member in ipairs(part) do
        local of, number = owner(member)
        local wanted = not known[of] or not inside(known[of], number)
        if most then
          wanted = of == prefix -- and not a row that lies below a record
          most = wanted and most - 1 or most
        end
        if not seen[member] then
          size = size + #member
          if wanted then
            seen[member] = true
            linked[#linked + 1] = member
          end
        end
      end
      if size > FOLLOW_BYTES then return {rows, {}, 0} end
      last = #part < step or most == 0
      offset = offset + step
      step = math.min(step * 2, 64)
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
  return ARGV[at + 6] == '1' and follow(rows, ARGV[at + 7]) or rows
end

local function nothing() return 0 end -- a guard, checked before

local READS = {
  G = function(at) return find(ARGV[at + 1]) end,
  R = range,
  C = function(at) return redis.call('ZLEXCOUNT', K, ARGV[at + 1], ARGV[at + 2]) end,
  Q = nothing,
  L = nothing,
  M = nothing,
  p = function(at) return registry().page(at) end,
  y = function(at) return registry().tally(ARGV[at + 1]) end,
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
    redis.call('ZADD', K, '0', ARGV[at + 2])
    return 1
  end,
  D = function(at) return delete(ARGV[at + 1]) end,
  X = function(at) return redis.call('ZREMRANGEBYLEX', K, ARGV[at + 1], ARGV[at + 2]) end,
  A = function(at)
    begin()
    local prefix = ARGV[at + 1]
    local number = counter(prefix)
    local key = sequence(prefix, number)
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
    redis.call('ZCARD', K) -- an error when the key is somebody else's
    redis.call('UNLINK', K)
    exists = false
    return 0
  end,
  E = function(at)
    local moment = tonumber(ARGV[at + 1])
    if ARGV[at + 2] ~= '' then moment = now + ARGV[at + 2] end
    if not is_there() then return -1 end
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
    registry().touch(at)
    return 0
  end,
  f = function(at)
    registry().forget(ARGV[at + 1], ARGV[at + 2])
    return 0
  end,
}

-- operation ids: what the writes of a batch replied, for a while

local generation = math.floor(now / GENERATION_MS)

local function operation(back) return OPERATIONS .. string.format('%08x', generation - back) .. OPERATION end

local function recorded(places, writes) -- the replies, or nil and what is wrong with their row
  for back = 0, 2 do
    local row = get(operation(back))
    if row then
      local whole, replies = pcall(cmsgpack.unpack, row)
      if not whole or type(replies) ~= 'table' then return nil, 'the record of an operation id is damaged' end
      local seen = 0
      for _, place in ipairs(places) do
        if WRITES[ARGV[place]] then
          seen = seen + 1
          if type(replies[seen]) ~= (ARGV[place] == 'A' and 'string' or 'number') then seen = nil break end
        end
      end
      if seen ~= #replies or seen ~= writes then return nil, 'this operation id was used for another batch' end
      return replies
    end
  end
end

local function record(written)
  redis.call('ZREMRANGEBYLEX', K, '[' .. OPERATIONS, '(' .. OPERATIONS .. string.format('%08x', generation - 2))
  redis.call('ZADD', K, '0', operation(0) .. '\0' .. cmsgpack.pack(written)) -- `recorded` has found none
  -- when the batch left nothing, what remembers it shall not stay for ever either
  if not is_there() then redis.call('PEXPIRE', K, 3 * GENERATION_MS) end
end

local function wrong_counter(places) -- what keeps the counters from being counted on, if anything does
  local sums = {}
  for _, place in ipairs(places) do
    local op, key = ARGV[place], ARGV[place + 1]
    if op == 'A' or op == 'I' then
      local count = sums[key] or counter(key)
      local name = string.format('%q', key)
      if not count then return 'the row at ' .. name .. ' is not a counter' end
      if op == 'A' and count < 0 then return 'the row at ' .. name .. ' is not a counter of records' end
      sums[key] = count + (op == 'I' and ARGV[place + 2] or 1)
      if math.abs(sums[key]) > COUNTER_LIMIT then
        return 'the counter at ' .. name .. ' would leave the range of 53 bits'
      end
    end
  end
end

local function copy(mode, dump, source) -- whether there was something to copy
  if mode == 'copy' then
    if redis.call('ZLEXCOUNT', source, '[' .. SYSTEM_END, '+') == 0 then return false end
    redis.call('ZCARD', K) -- an error when the key is somebody else's
    redis.call('COPY', source, K, 'REPLACE')
  elseif mode == 'restore' then
    if dump == '' then return false end
    redis.call('ZCARD', K)
    redis.call('RESTORE', K, 0, dump, 'REPLACE')
  end
  if mode ~= '' then
    redis.call('ZREMRANGEBYLEX', K, '-', '(' .. SYSTEM_END)
    exists = false
    begin()
  end
  return true
end

local function apply(at, last, source) -- one batch; its arguments are ARGV[at .. last]
  FRESH, OPERATION = ARGV[at], ARGV[at + 1]
  exists = nil
  local mode, dump = ARGV[at + 2], ARGV[at + 3]
  local places, writes, grows, drops = {}, 0, false, false
  at = at + 4
  while at <= last do
    local op = ARGV[at]
    places[#places + 1] = at
    if WRITES[op] then writes = writes + 1 end
    drops = drops or op == 'Z' -- which makes room, and is the first write then
    grows = grows or (GROWS[op] and not drops)
    at = at + 1 + ARITY[op] + (op == 't' and ARGV[at + 7] or 0)
  end
  local replay, wrong
  if OPERATION ~= '' then
    replay, wrong = recorded(places, writes)
    if wrong then return {'#', wrong} end
  end
  if not replay then
    for number, place in ipairs(places) do
      local fine, broken = holds(ARGV[place], place)
      if broken then return {'#', broken} end
      if not fine then return {'!', number} end
    end
    wrong = wrong_counter(places)
    if wrong then return {'#', wrong} end
    if grows then redis.call('ZADD', K, 'XX', '0', '') end
    if not copy(mode, dump, source) then return {'!', 0} end
  end
  local reply, written = {'='}, {}
  for number, place in ipairs(places) do
    local op, answer = ARGV[place], nil
    if READS[op] then
      answer = READS[op](place)
    else
      answer = replay and replay[#written + 1] or WRITES[op](place)
      written[#written + 1] = answer
    end
    reply[number + 1] = answer
  end
  if OPERATION ~= '' and not replay then record(written) end
  return reply
end

-- WAIT waits, from Redis 7.2 on, for what this connection has last changed. What was changed by another one, before it
-- broke or without waiting, is in front of that: so something is changed, and nothing is different afterwards. Before
-- 7.2 it waits for all that was there when this connection was last answered, and 6.2 does not know PEXPIRETIME.
local function loud()
  local ends = redis.pcall('PEXPIRETIME', K)
  if ends == -2 then
    redis.pcall('SET', K, '')
    redis.pcall('UNLINK', K)
  elseif ends == -1 then
    redis.pcall('PEXPIREAT', K, 2 ^ 46)
    redis.pcall('PERSIST', K)
  elseif type(ends) == 'number' then
    redis.pcall('PEXPIREAT', K, ends)
  end
end

local replies, at, key = {}, 2, 1
for number = 1, tonumber(ARGV[1]) do
  local last = at + ARGV[at]
  K = KEYS[key]
  key = key + (ARGV[at + 3] == 'copy' and 2 or 1)
  if number == 1 then
    replies[1] = apply(at + 1, last, KEYS[key - 1])
  elseif replies[number - 1][1] ~= '=' then
    replies[number] = {'-'}
  else -- an error must not take back the answers of those before
    local whole, reply = pcall(apply, at + 1, last, KEYS[key - 1])
    if not whole then
      local text = type(reply) == 'table' and reply.err or tostring(reply)
      -- then those before it have not written either, or they would have met it
      if string.find(text, 'READONLY', 1, true) or string.find(text, 'NOREPLICAS', 1, true) then return {err = text} end
      reply = {'x', text}
    end
    replies[number] = reply
  end
  at = last + 1
end
if ARGV[at] and replies[1][1] == '=' then loud() end
return #replies == 1 and replies[1] or replies
