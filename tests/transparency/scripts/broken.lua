-- Ends with an uncaught error: traceback on standard error, status 1.
local function inner(t) return t.missing.field end
local function outer() return (inner({})) end
print("before")
outer()
