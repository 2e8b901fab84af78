testudo-profile 2
