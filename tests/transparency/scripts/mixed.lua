-- Closures, metatables, strings and patterns, coroutines, errors, sorting, integer and float arithmetic, the collector.
local function counter(step)
  local n = 0
  return function() n = n + step; return n end
end
local a, b = counter(3), counter(7)
for _ = 1, 1000 do a(); b() end
print(a(), b())

local Point = {}
Point.__index = Point
Point.__add = function(p, q) return setmetatable({x = p.x + q.x, y = p.y + q.y}, Point) end
Point.__eq = function(p, q) return p.x == q.x and p.y == q.y end
Point.__lt = function(p, q) return p.x < q.x end
Point.__tostring = function(p) return string.format("(%g, %g)", p.x, p.y) end
Point.__concat = function(p, q) return tostring(p) .. tostring(q) end
Point.__call = function(p, k) return p.x * k end
Point.__len = function() return 2 end
local p = setmetatable({x = 1, y = 2}, Point)
for i = 1, 500 do p = p + setmetatable({x = i, y = 1 / i}, Point) end
print(p, p(2), #p, p .. p, p == p, p < p + p)

local text = ("the quick brown fox jumps over the lazy dog "):rep(50)
local words = {}
for w in text:gmatch("%a+") do words[w] = (words[w] or 0) + 1 end
local names = {}
for w in pairs(words) do names[#names + 1] = w end
table.sort(names, function(x, y) if words[x] ~= words[y] then return words[x] > words[y] end return x < y end)
for _, w in ipairs(names) do io.write(w, "=", words[w], " ") end
print()
print((text:gsub("(%w+) (%w+)", "%2-%1", 5)):sub(1, 60), text:find("lazy", 1, true), ("%5.2f|%-8s|%08x|%q"):format(3.14159, "abc", 48879, "a\nb"))
print(string.pack("<i4z", 77, "packed"):byte(1, -1), utf8.char(228, 8364), #utf8.char(8364))

local function generate(n)
  return coroutine.wrap(function()
    for i = 1, n do coroutine.yield(i, i * i) end
    return "end"
  end)
end
local sum = 0
for i, square in generate(2000) do if square then sum = sum + square % (i + 1) else print(i) break end end
print(sum)

local function deep(n) if n == 0 then error({code = 42}) end return deep(n - 1) + 1 end
for depth = 0, 100, 20 do
  local ok, err = pcall(deep, depth)
  io.write(tostring(ok), " ", err.code, " ")
end
print(select(2, pcall(error, "plain", 0)), select(2, xpcall(function() local x = nil; return x.field end, function(m) return m:match(":%d+: (.*)") end)))
print(pcall(string.rep, "x", -1), (select("#", pcall(coroutine.wrap(function() error("inside") end)))))
local co = coroutine.create(function() pcall(function() coroutine.yield(1); error("late") end); return 2 end)
print(coroutine.resume(co), coroutine.resume(co), coroutine.status(co))
print(pcall(function() local function r() return r() + 1 end return r() end) == false)

local primes, sieve = {}, {}
for i = 2, 20000 do
  if not sieve[i] then
    primes[#primes + 1] = i
    for k = i * i, 20000, i do sieve[k] = true end
  end
end
print(#primes, primes[#primes], 7 // 2, -7 // 2, -7 % 3, 7.5 // 2, 1 << 62, 5 / 2, math.maxinteger + 1 == math.mininteger, 3 | 8 ~ 1, 2 ^ 0.5)
local matrix = {}
for i = 1, 40 do matrix[i] = {} for k = 1, 40 do matrix[i][k] = math.sin(i) * math.cos(k) end end
local trace = 0.0
for i = 1, 40 do for k = 1, 40 do for m = 1, 40 do trace = trace + matrix[i][m] * matrix[m][k] end end end
print(("%.10f"):format(trace))

local weak = setmetatable({}, {__mode = "v"})
for i = 1, 100 do weak[i] = {} end
local closed = 0
do local guard <close> = setmetatable({}, {__close = function() closed = closed + 1 end}) end
for i = 1, 3000 do local t = {} for k = 1, 20 do t[k] = {k, tostring(k)} end end
collectgarbage()
local left = 0
for _ in pairs(weak) do left = left + 1 end
print(left, closed, load("return 6 * 7")(), #string.dump(function() return 1 end) > 0)
local out = assert(io.open("lua-out.txt", "w"))
for i = 1, 200 do out:write(i, "\t", i * i, "\n") end
out:close()
local lines = 0
for line in io.lines("lua-out.txt") do if line:match("^%d+\t%d+$") then lines = lines + 1 end end
print(lines, io.open("/nonexistent"))
io.stderr:write("to standard error\n")
os.exit(5, true)
