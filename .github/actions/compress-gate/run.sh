#!/usr/bin/env bash
# Run compress and end with its exit code. Reads CANDIDATES (one a line) and DENSE, or MODEL; POLICY,
# PROJECT, RUN, ARGUMENTS (one a line) and FAIL_ON_UNDECIDED (true or false). What is empty counts as
# not given.
set -euo pipefail

stop() {
  echo "::error title=compress-gate::$1"
  exit 2
}

lines() { # the array $1, of the lines of $2 that are not empty
  local -n into=$1
  local line
  while IFS= read -r line; do
    [[ -z $line ]] || into+=("$line")
  done <<<"$2"
}

candidates=()
lines candidates "${CANDIDATES:-}"
if [[ -n ${MODEL:-} ]]; then
  [[ ${#candidates[@]} == 0 && -z ${DENSE:-} ]] ||
    stop "the input model is to be pruned, candidates are judged as they are against dense; give one or the other"
elif [[ ${#candidates[@]} == 0 && -z ${DENSE:-} ]]; then
  stop "there is nothing to judge; give the inputs candidates and dense, or the input model"
elif [[ ${#candidates[@]} == 0 ]]; then
  stop "the input candidates is empty; give the files to judge, one path a line"
elif [[ -z ${DENSE:-} ]]; then
  stop "the input dense is empty; give the model that the candidates were made from"
fi
[[ -n ${POLICY:-} ]] || stop "the input policy is empty; give a built-in policy or a .yaml file"
undecided_fails=${FAIL_ON_UNDECIDED:-true}
[[ $undecided_fails == true || $undecided_fails == false ]] ||
  stop "the input fail-on-undecided is true or false, nothing else"

outputs=${GITHUB_OUTPUT:-$(mktemp)}

# With "=" and after "--", what begins with a dash is a value and no option.
if [[ -n ${MODEL:-} ]]; then
  words=(run)
  judged=("$MODEL")
else
  words=(gate "--dense=$DENSE")
  judged=("${candidates[@]}")
fi
words+=("--policy=$POLICY")
[[ -z ${PROJECT:-} ]] || words+=("--project=$PROJECT")
[[ -z ${RUN:-} ]] || words+=("--run=$RUN")
lines words "${ARGUMENTS:-}"

code=0
GITHUB_OUTPUT=$outputs compress "${words[@]}" -- "${judged[@]}" || code=$?
echo "exit-code=$code" >>"$outputs"

# "--help" among the arguments ends with 0 as well, and accepts nothing.
if [[ $code == 0 ]] && ! grep -qx "verdict=accepted" "$outputs"; then
  stop "compress ended with 0 but gave no verdict; look at the input arguments"
fi
# Exit code 4 without a verdict judged nothing: the images are too few, or used up.
if [[ $code == 4 && $undecided_fails == false ]] && grep -qx "verdict=undecided" "$outputs"; then
  echo "::warning title=compress-gate::undecided, which fail-on-undecided lets pass"
  exit 0
fi
exit "$code"
