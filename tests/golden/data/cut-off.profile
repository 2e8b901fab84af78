testudo-profile 1
metric instructions
source x
object - /bin/x
function 0 0x10 5 1 f
