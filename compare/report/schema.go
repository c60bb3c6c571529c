package report

// Schema names the JSON form of a report. Names in it stay; new ones may come.
const Schema = "ildiff.report/v1"
