//! Makes a graph of a program.

use rustc_hash::FxHashMap;

use super::{
    TooComplex,
    expression::Id,
    graph::{Graph, Node, NodeId},
};
use crate::filter::{
    Program,
    check::{DATA_BYTES, SCRATCH},
    instruction::{Alu, Comparison, Operation, Source},
};

/// The most places with their registers that are told apart. A program of libseccomp has at most two for an instruction.
const MAX_STATES: usize = 1 << 15;

/// What stands in the registers and in scratch memory. What nothing reads any more is 0, so that more states are equal.
#[derive(Clone, PartialEq, Eq, Hash)]
struct State {
    a: Id,
    x: Id,
    scratch: [Id; SCRATCH],
}

/// A state at an instruction: which of those there.
type Place = (usize, usize);

/// What happens at a place.
enum Step {
    Goes(Place),
    Branches {
        comparison: Comparison,
        a: Id,
        b: Id,
        yes: Place,
        no: Place,
    },
    /// It returns 0 where the divisor is 0.
    Divides {
        by: Id,
        next: Place,
    },
    Returns(Id),
}

/// The states at one instruction, in the order in which they were found.
#[derive(Default)]
struct States {
    all: Vec<State>,
    places: FxHashMap<State, usize>,
}

/// What is read later: a bit for each word of scratch memory, one for the accumulator, one for the index register.
type Live = u32;

const A: Live = 1 << SCRATCH;
const X: Live = 1 << (SCRATCH + 1);

struct Walk<'p> {
    program: &'p Program,
    live: Vec<Live>,
    states: Vec<States>,
    count: usize,
    zero: Id,
}

impl Graph<'_> {
    /// The node at which a program starts.
    pub(super) fn start(&mut self, program: &Program) -> Result<NodeId, TooComplex> {
        let length = program.instructions().len();
        let zero = self.expressions.constant(0);
        let mut walk = Walk {
            program,
            live: live(program),
            states: (0..length).map(|_| States::default()).collect(),
            count: 0,
            zero,
        };
        walk.reach(0, State { a: zero, x: zero, scratch: [zero; SCRATCH] })?;
        let mut steps: Vec<Vec<Step>> = Vec::with_capacity(length);
        for at in 0..length {
            let mut here = Vec::with_capacity(walk.states[at].all.len());
            for index in 0..walk.states[at].all.len() {
                self.work(0)?;
                let state = walk.states[at].all[index].clone();
                here.push(walk.step(self, at, state)?);
            }
            steps.push(here);
        }
        let mut nodes: Vec<Vec<NodeId>> = vec![Vec::new(); length];
        for (at, steps) in steps.into_iter().enumerate().rev() {
            let mut here = Vec::with_capacity(steps.len());
            for step in steps {
                let node = |(at, index): Place| nodes[at][index];
                here.push(match step {
                    Step::Goes(next) => node(next),
                    Step::Branches { comparison, a, b, yes, no } => {
                        self.branch(comparison, a, b, node(yes), node(no))?
                    }
                    Step::Divides { by, next } => {
                        let ends = self.keep(Node::Returns(0))?;
                        self.branch(Comparison::Equal, by, zero, ends, node(next))?
                    }
                    Step::Returns(value) => self.returning(value)?,
                });
            }
            nodes[at] = here;
        }
        Ok(nodes[0][0])
    }
}

impl Walk<'_> {
    /// Notes that a state arises at an instruction.
    fn reach(&mut self, at: usize, mut state: State) -> Result<Place, TooComplex> {
        let live = self.live[at];
        if live & A == 0 {
            state.a = self.zero;
        }
        if live & X == 0 {
            state.x = self.zero;
        }
        for (index, word) in state.scratch.iter_mut().enumerate() {
            if live & 1 << index == 0 {
                *word = self.zero;
            }
        }
        let states = &mut self.states[at];
        if let Some(&index) = states.places.get(&state) {
            return Ok((at, index));
        }
        if self.count == MAX_STATES {
            return Err(TooComplex);
        }
        self.count += 1;
        let index = states.all.len();
        states.all.push(state.clone());
        states.places.insert(state, index);
        Ok((at, index))
    }

    fn step(&mut self, graph: &mut Graph<'_>, at: usize, mut state: State) -> Result<Step, TooComplex> {
        let (operation, one) = self.program.operation(at);
        let next = at + 1;
        let expressions = &mut graph.expressions;
        let k = expressions.constant(one.k);
        let operand = |source, state: &State| match source {
            Source::K => k,
            Source::X => state.x,
        };
        match operation {
            // A place in `struct seccomp_data` is below 64.
            Operation::Load => state.a = expressions.word((one.k / 4) as u8),
            Operation::LoadLength => state.a = expressions.constant(DATA_BYTES),
            Operation::LoadLengthToX => state.x = expressions.constant(DATA_BYTES),
            Operation::LoadConstant => state.a = k,
            Operation::LoadConstantToX => state.x = k,
            Operation::LoadScratch => state.a = state.scratch[one.k as usize],
            Operation::LoadScratchToX => state.x = state.scratch[one.k as usize],
            Operation::Store => state.scratch[one.k as usize] = state.a,
            Operation::StoreX => state.scratch[one.k as usize] = state.x,
            Operation::ToX => state.x = state.a,
            Operation::FromX => state.a = state.x,
            Operation::Negate => state.a = expressions.compute(Alu::Sub, self.zero, state.a),
            Operation::Compute(alu, source) => {
                let by = operand(source, &state);
                if alu == Alu::Div && by == self.zero {
                    return Ok(Step::Returns(self.zero));
                }
                state.a = expressions.compute(alu, state.a, by);
                if alu == Alu::Div && graph.expressions.value(by).is_none() {
                    return Ok(Step::Divides { by, next: self.reach(next, state)? });
                }
            }
            Operation::Jump => return Ok(Step::Goes(self.reach(next + one.k as usize, state)?)),
            Operation::Branch(comparison, source) => {
                let (a, b) = (state.a, operand(source, &state));
                let (yes, no) = (next + usize::from(one.jt), next + usize::from(one.jf));
                if let (Some(a), Some(b)) = (expressions.value(a), expressions.value(b)) {
                    let to = if comparison.holds(a, b) { yes } else { no };
                    return Ok(Step::Goes(self.reach(to, state)?));
                }
                let yes = self.reach(yes, state.clone())?;
                let no = self.reach(no, state)?;
                return Ok(Step::Branches { comparison, a, b, yes, no });
            }
            Operation::ReturnConstant => return Ok(Step::Returns(k)),
            Operation::Return => return Ok(Step::Returns(state.a)),
        }
        Ok(Step::Goes(self.reach(next, state)?))
    }
}

/// What is read later, at each instruction.
fn live(program: &Program) -> Vec<Live> {
    let length = program.instructions().len();
    let mut live = vec![0; length];
    for at in (0..length).rev() {
        let (operation, one) = program.operation(at);
        let after = |distance: usize| live.get(at + 1 + distance).copied().unwrap_or(0);
        let operand = |source| if source == Source::X { X } else { 0 };
        let scratch = 1 << (one.k as usize % SCRATCH);
        let next = after(0);
        live[at] = match operation {
            Operation::Load | Operation::LoadLength | Operation::LoadConstant => next & !A,
            Operation::LoadLengthToX | Operation::LoadConstantToX => next & !X,
            Operation::LoadScratch => next & !A | scratch,
            Operation::LoadScratchToX => next & !X | scratch,
            Operation::Store => next & !scratch | A,
            Operation::StoreX => next & !scratch | X,
            Operation::ToX => next & !X | A,
            Operation::FromX => next & !A | X,
            Operation::Negate => next | A,
            Operation::Compute(_, source) => next | A | operand(source),
            Operation::Jump => after(one.k as usize),
            Operation::Branch(_, source) => after(one.jt.into()) | after(one.jf.into()) | A | operand(source),
            Operation::ReturnConstant => 0,
            Operation::Return => A,
        };
    }
    live
}
