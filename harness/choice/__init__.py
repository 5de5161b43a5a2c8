"""Which method and adapter to choose: comparable contenders, paired bootstrap over shifts and seeds, the words."""
