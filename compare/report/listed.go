package report

// listed is how many names a list in the text shows.
const Listed = 10
