testudo-profile 1
metric instructions
source x
object - /opt/app
function 0 - 10 2 f
returns 0 1 2 5
total 10
